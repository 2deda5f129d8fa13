-- The layout is what it was, but saying so again is a write, and waits for the disk.
UPDATE coupon.layout SET version = version RETURNING coupon.now_us();
