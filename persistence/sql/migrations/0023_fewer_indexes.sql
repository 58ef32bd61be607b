-- Every open hold was entered in two indexes by its expiry. The few that are overdue are found by the one that is not
-- of a namespace just as well, and a hold costs a tenth less to keep.
DROP INDEX meter.open_holds_of_namespace_by_expiry;
