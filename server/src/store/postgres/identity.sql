SELECT current_setting('server_encoding'), to_regclass('coupon.layout') IS NOT NULL;
