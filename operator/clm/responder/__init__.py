"""`clm responder`: CRLs, OCSP answers and CA certificates over HTTP, from clm_core_db alone."""
