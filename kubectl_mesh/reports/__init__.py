"""Values as text, JSON, Markdown, SARIF, JUnit and calendars."""
