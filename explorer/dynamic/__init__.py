"""Instance subnetworks at work: where channels are dropped image by image, who chooses them, and what that saves."""
