"""From files to tensors: grids, transforms, caches, augmentation and patches."""
