"""Looking into a network: what channels are, and what a layer's feature maps become when others are cut."""
