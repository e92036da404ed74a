DROP TABLE deleted_room;
DROP TABLE read_marker;
DROP TABLE room_member;
DROP TABLE link;
DROP TABLE room;
