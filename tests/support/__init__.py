"""What tests share: meshes, certificates and stand-ins for clusters."""
