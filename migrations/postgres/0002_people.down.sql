DROP TABLE login;
DROP TABLE user_account;
