INSERT INTO campaigns (number, name, coupons, starts_at_us, per_user_limit, created_at_us, create_key)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);
