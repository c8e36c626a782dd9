"""Parts of the panel, as FiftyOne's page shows them."""
