"""A real S3 on this machine: Ceph's RADOS Gateway over one storage daemon in memory."""
