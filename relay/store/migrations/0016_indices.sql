-- When the next delivery falls due is found target by target in deliveries_queue: one index less for each to keep up.
DROP INDEX deliveries_due;
