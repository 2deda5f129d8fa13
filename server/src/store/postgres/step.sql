SELECT decision, given, rank, at_us, promised FROM coupon.issue($1, $2, $3, $4, $5);
