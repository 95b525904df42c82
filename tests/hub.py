"""The Hugging Face Hub, without it."""

from pathlib import Path


class Hub:
    """What is asked of huggingface_hub: a copy, a repository, an upload."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []

    def snapshot_download(self, name, revision):
        self.asked.append((name, revision))
        return str(self.folder)

    def HfApi(self):
        return self

    def create_repo(self, name, private, exist_ok):
        self.asked.append((name, private, exist_ok))
        return f"address of {name}"

    def upload_folder(self, repo_id, folder_path):
        self.asked.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
