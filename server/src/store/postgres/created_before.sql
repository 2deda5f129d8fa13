SELECT number FROM coupon.campaigns WHERE create_key = $1;
