DROP TABLE cluster;
DROP TABLE node;
