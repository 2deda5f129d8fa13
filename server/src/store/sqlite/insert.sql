-- A code that is taken inserts nothing, and the caller draws another one.
INSERT INTO coupons (campaign, seq, code, user, holder, key, issued_at_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (code) DO NOTHING;
