"""What gets built: specs, contexts and the images that come of them."""
