"""Parts of Pengi: audio encoder, mapping networks, frozen encoders, prefix LM."""
