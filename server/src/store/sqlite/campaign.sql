SELECT name, coupons, starts_at_us, per_user_limit, issued FROM campaigns WHERE number = ?1;
