SELECT seq, code, user, issued_at_us FROM coupons
WHERE campaign = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3;
