"""Every public function of the backend has a row in the tables of this folder, or a reason why it cannot have one."""
