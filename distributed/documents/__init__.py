"""Documents from files, a share for each rank."""
