SELECT name, coupons, starts_at_us, per_user_limit, issued, opened_at_us,
    cancelled_at_us IS NOT NULL, coupon.now_us()
FROM coupon.campaigns WHERE number = $1;
