SELECT code, seq, issued_at_us FROM coupons INDEXED BY coupons_by_holder
WHERE campaign = ?1 AND holder IS ?2 AND key = ?3 ORDER BY seq LIMIT 1;
