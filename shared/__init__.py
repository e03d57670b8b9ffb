"""What trainer and service must agree on, once: classes, decoding, preprocessing, artifact layout, versions."""
