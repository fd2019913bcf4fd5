"""Links to edit a page, and to the repository."""

import tomllib
from typing import Any


def edit_links(pyproject: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return theme options and page context from ``Repository`` in ``[project.urls]``; both empty without one."""
    repository = tomllib.loads(pyproject)["project"].get("urls", {}).get("Repository", "").rstrip("/")
    if not repository:
        return {}, {}
    icon = {"name": "Repository", "url": repository, "icon": "fa-brands fa-git-alt"}
    template = f"{repository}/edit/main/docs/{{{{ file_name }}}}"
    return {"use_edit_page_button": True, "icon_links": [icon]}, {
        "edit_page_url_template": template,
        "edit_page_provider_name": repository.split("/")[2],
    }
