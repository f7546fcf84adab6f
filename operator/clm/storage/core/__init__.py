"""Access to clm_core_db: what people search, approve and audit."""
