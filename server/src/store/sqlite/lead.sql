-- Nobody leads for longer than a lease: one that ends later is of a clock that was put back.
UPDATE lead SET name = ?1, until_us = ?3
WHERE name = ?1 OR until_us NOT BETWEEN ?2 + 1 AND ?3;
