-- IS and not =: without a user, keys belong to the campaign's unnamed user.
SELECT code, seq, key, issued_at_us FROM coupons INDEXED BY coupons_by_holder
WHERE campaign = ?1 AND holder IS ?2 AND key = ?3 LIMIT 1;
