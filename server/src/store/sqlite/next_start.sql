SELECT min(starts_at_us) FROM campaigns WHERE opened_at_us IS NULL AND cancelled_at_us IS NULL;
