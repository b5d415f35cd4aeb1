"""Do U-Net features cluster by person or by style?"""
