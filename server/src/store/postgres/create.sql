INSERT INTO coupon.campaigns (name, coupons, starts_at_us, per_user_limit, created_at_us)
VALUES ($1, $2, $3, $4, coupon.now_us()) RETURNING number, created_at_us;
