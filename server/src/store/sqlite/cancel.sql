UPDATE campaigns SET cancelled_at_us = ?2 WHERE number = ?1 AND cancelled_at_us IS NULL;
