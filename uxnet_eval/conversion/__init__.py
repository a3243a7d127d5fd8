"""Published data sets in the project's layout: ISIC 2018 (skin lesions) and ACDC (hearts)."""
