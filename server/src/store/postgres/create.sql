-- Nothing where this key created a campaign before.
INSERT INTO coupon.campaigns (name, coupons, starts_at_us, per_user_limit, create_key, created_at_us)
VALUES ($1, $2, $3, $4, $5, coupon.now_us())
ON CONFLICT (create_key) DO NOTHING RETURNING number;
