"""Read models: what a page and its JSON show, built from the ports once and by pure functions from then on."""
