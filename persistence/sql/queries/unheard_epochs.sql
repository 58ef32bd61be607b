SELECT count(*) FROM meter.epochs WHERE unheard
