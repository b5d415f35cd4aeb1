"""The application: pictures and clips in, poses and pose maps out."""
