-- The third parameter is for the other query.
SELECT code, seq, issued_at_us FROM coupons INDEXED BY coupons_by_holder
WHERE campaign = ?1 AND holder = ?2 AND ?3 IS NOT NULL ORDER BY seq LIMIT 1;
