-- A bulk load leaves a result for each of its users; the results of one document are looked up by every command on it.
create index command_results_by_document on command_results (kind, id);
