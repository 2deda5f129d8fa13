UPDATE campaigns SET opened_at_us = ?1
WHERE opened_at_us IS NULL AND cancelled_at_us IS NULL AND starts_at_us <= ?1 RETURNING number;
