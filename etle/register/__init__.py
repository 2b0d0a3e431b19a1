"""The vehicle register: who owns a plate, what vehicle it belongs to, and whether that is the one in the picture."""
