"""Are U-Net features ordered by person or by style?"""
