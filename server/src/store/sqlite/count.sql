UPDATE campaigns SET issued = ?2 WHERE number = ?1;
