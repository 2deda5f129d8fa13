SELECT number FROM campaigns WHERE create_key = ?1;
