-- Waits for the step that has the row; every later one sees it.
UPDATE coupon.campaigns SET cancelled_at_us = coalesce(cancelled_at_us, coupon.now_us())
WHERE number = $1 RETURNING number;
