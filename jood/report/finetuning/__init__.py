"""Before and after fine-tuning: tables, pictures, their page."""
