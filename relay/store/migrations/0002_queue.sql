-- The queue is read target by target in the order things fall due, however long another target's queue is.
CREATE INDEX deliveries_queue ON deliveries(target, due_at, id) WHERE state = 'pending';
-- What a person asked for is tried even while its target is down.
CREATE INDEX deliveries_asked ON deliveries(target, due_at, id) WHERE state = 'pending' AND reason <> 'routed';
