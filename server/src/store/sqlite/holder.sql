-- The index is named: left alone, SQLite walks the whole campaign in order of seq instead.
SELECT code, seq, key, issued_at_us FROM coupons INDEXED BY coupons_by_holder
WHERE campaign = ?1 AND holder = ?2 LIMIT 1;
