"""The SDPose network: VAE encoder, U-Net, heatmap head, and what makes them fast."""
